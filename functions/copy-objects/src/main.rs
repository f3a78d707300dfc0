//! Copies a batch of small objects.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::copy_objects;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| copy_objects(&clients, &context, input).await).await
}
