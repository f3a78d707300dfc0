//! Settles failed items, requests and executions, and records how an execution ended.

use longhaul_aws::events::settle_event;
use longhaul_aws::lambda::{connect, serve, start_log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| settle_event(&clients, &context, input).await).await
}
