//! Plans a request: routes, classifies, creates or finds uploads, lays out the work.

use longhaul_aws::lambda::{connect, serve, start_log};
use longhaul_aws::steps::plan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| plan(&clients, &context, input).await).await
}
