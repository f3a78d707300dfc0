//! The `longhaul` command.

use clap::Parser as _;
use clap::error::ErrorKind;
use longhaul::args::copy::CopyArgs;
use longhaul::args::{Cli, Command};
use longhaul::copy::Copy;
use longhaul::local::check::check;
use longhaul::local::estimate::estimate;
use longhaul::local::uploads::uploads;
use longhaul::local::verify::verify;
use longhaul::output::{print, tell};
use longhaul::progress::{Shown, show};
use longhaul::remote::backfill::backfill;
use longhaul::remote::control::{pause, resume, stop};
use longhaul::remote::redrive::redrive;
use longhaul::remote::status::{failures, status};
use longhaul::signals::interrupted;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// How long an interrupted run may take to put its ledger on the disk.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// Small objects are many small allocations: a sixth less processor time than with the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    start_log(if let Command::Copy(args) = &command { args.verbose } else { 0 });
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(run(command));
    // What is still under way on other threads, a lookup of a name for one, is not waited for.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(command: Command) -> u8 {
    let done = match command {
        Command::Copy(args) => return copy(&args).await,
        Command::Backfill(args) => {
            let request = args.request().unwrap_or_else(|error| misused(&error));
            backfill(&args, &request).await
        }
        Command::Status(args) => status(&args).await,
        Command::Failures(args) => failures(&args).await,
        Command::Pause(args) => pause(&args).await,
        Command::Stop(args) => stop(&args).await,
        Command::Resume(args) => resume(&args).await,
        Command::Redrive(args) => interruptible(redrive(&args)).await,
        Command::Estimate(args) => interruptible(estimate(&args)).await,
        Command::Check(args) => interruptible(check(&args)).await,
        Command::Uploads(args) => interruptible(uploads(&args)).await,
        Command::Verify(args) => interruptible(verify(&args)).await,
    };
    done.unwrap_or_else(|error| {
        tell(&format!("error: {error}"));
        FAILED
    })
}

/// A look at both sides leaves nothing to be resumed: an interrupt simply ends it.
async fn interruptible(work: impl Future<Output = Result<u8, String>>) -> Result<u8, String> {
    tokio::select! {
        done = work => done,
        code = interrupted() => Ok(code),
    }
}

/// Ends the process as for any other mistake on the command line.
fn misused(error: &str) -> ! {
    use clap::CommandFactory as _;
    Cli::command().error(ErrorKind::ValueValidation, error).exit()
}

/// Half of the processors are ours, the other half the kernel's, which moves the same bytes. One thread by itself spends
/// nothing on waking others: a fifth less processor time.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get() / 2);
    let mut builder = if threads > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.worker_threads(threads.max(1)).enable_all().build()
}

/// Logs to standard error; `RUST_LOG` wins over the options.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "off,longhaul=info,longhaul_aws=info",
        _ => "off,longhaul=debug,longhaul_aws=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
}

async fn copy(args: &CopyArgs) -> u8 {
    let route = args.route().unwrap_or_else(|error| misused(&error));
    let fail = |error: &str| {
        tell(&format!("error: {error}"));
        FAILED
    };
    let copy = match Copy::open(args, route).await {
        Ok(copy) => copy,
        Err(error) => return fail(&error),
    };
    let display = show(copy.look(), Shown::choose(args.quiet, args.verbose > 0), tell);
    let ended = tokio::select! {
        ended = copy.run() => Ok(ended),
        signal = interrupted() => Err(signal),
    };
    drop(display);
    let summary = match ended {
        Ok(Ok(summary)) => summary,
        Ok(Err(error)) => return fail(&error),
        Err(code) => {
            let snapshot = copy.progress().snapshot();
            let flushed = tokio::time::timeout(FLUSH_TIME, copy.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tell("the ledger's last records could not be written: a little work will be repeated");
            }
            let (ended, listed) = (snapshot.ended_objects, snapshot.listed_objects);
            tell(&format!(
                "interrupted after {ended} of {listed} listed objects; run the same command again to resume"
            ));
            return code;
        }
    };
    print(&if args.json { summary.json() } else { summary.text() });
    if let Some(error) = &summary.error {
        return fail(error);
    }
    if summary.objects == 0 && !args.quiet {
        tell(&format!("nothing to copy: there is no object under {}", summary.source));
    }
    if summary.all_well() { 0 } else { FAILED }
}
