//! Each step by itself: done twice, interrupted, out of time, given bad input.

mod changes;
mod ends;
mod layouts;
mod proofs;
mod twice;

use crate::by_hand::{carry_out, copy_all, large, planned, ranges};
use crate::world::{MIB, World};
use longhaul_aws::clients::Clients;
use longhaul_aws::events::settle_event;
use longhaul_aws::outcomes::{Learnt, Offered, failed, record};
use longhaul_aws::steps::{QueueMessage, complete, copy_objects, copy_parts, intake, plan};
use longhaul_core::contract::{
    Batch, BatchObjects, ItemState, Large, PlanInput, PlanOutput, PlanRequest, RangeResult, RangeState, RangeWork, Work,
};
use longhaul_core::error::{ErrorName, Failure};
use longhaul_core::integrity::PartProof;
use longhaul_core::layout::PartRange;
use longhaul_core::outcome::{Outcome, Proof, SkipReason, Status};
use longhaul_core::request::Request;
use longhaul_testing::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

/// Less than a step keeps for ending.
const NO_TIME: Duration = Duration::from_secs(9);

fn batch(work: &Work) -> Batch {
    match &work.work[0] {
        ItemState::CopyObjects(batch) => batch.clone(),
        other => panic!("{other:?}"),
    }
}

fn sent_parts(world: &World) -> usize {
    world.there.log().count("UploadPart")
}
