//! Copies the missing parts of one range of a large object.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::copy_parts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| copy_parts(&clients, &context, input).await).await
}
