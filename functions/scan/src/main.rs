//! Begins a backfill, scans its shards, says what follows, and removes what the source lacks.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::scan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| scan(&clients, &context, input).await).await
}
