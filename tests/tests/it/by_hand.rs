//! Steps carried out one by one, as the state machine would.

use crate::world::World;
use longhaul_aws::steps::{complete, copy_objects, copy_parts, plan};
use longhaul_core::contract::{ItemState, Large, PlanInput, PlanOutput, PlanRequest, RangeState, RangeWork, Work};
use longhaul_core::layout::PartRange;
use longhaul_core::request::Request;

/// What `plan` makes of a request.
pub(crate) async fn planned(world: &World, request: &Request, execution: &str) -> Work {
    let request = PlanRequest { request: serde_json::to_value(request).unwrap(), execution: execution.into() };
    match plan(&world.clients, &world.context(), PlanInput::Plan(request)).await.unwrap() {
        PlanOutput::Work(work) => work,
        PlanOutput::Item(item) => panic!("{item:?}"),
    }
}

/// A large object, planned.
pub(crate) async fn large(world: &World, key: &str, execution: &str) -> Large {
    match planned(world, &world.request(&[key]), execution).await.work.pop() {
        Some(ItemState::CopyParts(large)) => *large,
        other => panic!("{other:?}"),
    }
}

/// The ranges of a large object, as the inner Map carries them.
pub(crate) fn ranges(large: &Large) -> Vec<RangeWork> {
    let work = |range: &PartRange| RangeWork {
        object: large.object.clone(),
        range: *range,
        rounds: 0,
        idle: 0,
        tally: Default::default(),
    };
    large.ranges.iter().map(work).collect()
}

/// Copies every range of a large object.
pub(crate) async fn copy_all(world: &World, large: &Large) {
    for range in ranges(large) {
        let state = copy_parts(&world.clients, &world.context(), range).await.unwrap();
        assert!(matches!(state, RangeState::Done(_)), "{state:?}");
    }
}

/// Carries out every item of a plan.
pub(crate) async fn carry_out(world: &World, work: Work) {
    for item in work.work {
        match item {
            ItemState::CopyParts(large) => {
                copy_all(world, &large).await;
                complete(&world.clients, &world.context(), *large).await.unwrap();
            }
            ItemState::CopyObjects(batch) => {
                let state = copy_objects(&world.clients, &world.context(), batch).await.unwrap();
                assert!(matches!(state, ItemState::Done(_)), "{state:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}
