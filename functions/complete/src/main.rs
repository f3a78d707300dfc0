//! Completes a large object's upload and proves it.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::complete;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| complete(&clients, &context, input).await).await
}
