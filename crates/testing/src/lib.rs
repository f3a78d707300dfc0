//! An S3 for tests: strict about what the real one is strict about, and faulty when told to be.
//!
//! [`TestS3`] answers HTTP requests from a [`Store`] in memory, either below an SDK client without
//! sockets ([`http_client`], [`s3_client`]) or on loopback ([`serve`]). In both cases every request
//! passes the same layer, which writes the [`RequestLog`] and injects the faults of a [`FaultPlan`],
//! so that the retries of the SDK are tested too. Nothing here depends on the product.

mod access;
mod body;
mod call;
mod digest;
mod endpoint;
mod fault_body;
mod faults;
mod http;
mod log;
mod sdk;
mod service;
mod store;

pub use body::{Body, Generated, seed_of};
pub use call::Call;
pub use digest::{Algorithm, Digested, SumType, Sums};
pub use endpoint::{Keys, Lost, TestS3};
pub use faults::{Fault, FaultPlan, Faults, Random, Rule};
pub use http::{Served, serve};
pub use log::{Entry, RequestLog};
pub use sdk::{connector_for, http_client, http_client_for, s3_client, s3_client_at, sdk_config};
pub use store::{
    Attributes, BucketSettings, Discard, Encryption, Object, Part, Store, StoreConfig, Upload, Versioning,
    WriteCondition,
};
