//! Reports a backfill: adds up what became of its objects, and notifies.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| report(&clients, &context, input).await).await
}
