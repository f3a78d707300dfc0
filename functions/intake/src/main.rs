//! Turns queue messages into executions of `migrate`.

use longhaul_aws::events::take_batch;
use longhaul_aws::lambda::{connect, serve, start_log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    start_log();
    let clients = connect().await?;
    serve(clients, async |clients, context, input| take_batch(&clients, &context, input).await).await
}
