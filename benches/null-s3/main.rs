//! An S3 that costs next to nothing, to measure clients against.
//!
//! Objects are cut from a pattern in memory; what is received is compared with it as it comes in, so that every copy is
//! verified byte for byte without a hash. ETags are true MD5s, computed once. Signatures are not checked.
//! Beside S3 it answers to `/_stats`, `/_reset` and `/_verify?bucket=BUCKET&case=CASE`.

mod call;
mod check;
mod cpu;
mod data;
mod frames;
mod generated;
mod listing;
mod objects;
mod pattern;
mod receive;
mod reply;
mod server;
mod store;
mod tls;
mod uploads;

use clap::{Parser, ValueEnum};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use server::{Options, Server};
use std::convert::Infallible;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Serves S3 from memory until it is killed. Prints its address in one line.
#[derive(Debug, Parser)]
struct Args {
    /// The address.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port; 0 takes one that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Which side it plays.
    #[arg(long, value_enum)]
    side: Side,
    /// The cases that a source offers; all where absent.
    #[arg(long, value_delimiter = ',', value_parser = case)]
    cases: Vec<String>,
    /// Milliseconds waited before each answer.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Answers as a bucket does that encrypts under KMS: ETags are no MD5s.
    #[arg(long)]
    kms: bool,
    /// Does not tell the number of an object's parts.
    #[arg(long)]
    no_part_counts: bool,
    /// Tells the CRC64NVME of whole objects.
    #[arg(long)]
    checksums: bool,
    /// Serves TLS, and writes the certificate of its authority to this place.
    #[arg(long, value_name = "PEM")]
    tls: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Source,
    Destination,
}

fn case(name: &str) -> Result<String, String> {
    match data::names().find(|known| *known == name) {
        Some(name) => Ok(name.to_owned()),
        None => Err(format!("one of {}", data::names().collect::<Vec<_>>().join(", "))),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let cases = match (args.side, args.cases.is_empty()) {
        (Side::Destination, _) => Vec::new(),
        (Side::Source, true) => data::names().map(str::to_owned).collect(),
        (Side::Source, false) => args.cases,
    };
    let options = Options {
        latency: Duration::from_millis(args.latency_ms),
        kms: args.kms,
        part_counts: !args.no_part_counts,
        checksums: args.checksums,
    };
    let server = Arc::new(Server::new(&cases, options));
    let acceptor = match &args.tls {
        Some(place) => Some(tls::acceptor(&["localhost".to_owned(), args.host.to_string()], place)?),
        None => None,
    };
    let listener = TcpListener::bind((args.host, args.port)).await?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    writeln!(std::io::stdout(), "{scheme}://{}", listener.local_addr()?)?;
    loop {
        // A connection that fails before it is there says nothing about the next.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
        tokio::spawn(async move {
            server.state().connections += 1;
            match acceptor {
                None => serve(server, TokioIo::new(stream)).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => serve(server, TokioIo::new(stream)).await,
                    Err(error) => eprintln!("no TLS: {error}"),
                },
            }
        });
    }
}

/// Answers the requests of one connection until the client ends it.
async fn serve<C: Read + Write + Unpin + Send + 'static>(server: Arc<Server>, connection: C) {
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    // How a client ends its connections is its own business.
    let _ = http1::Builder::new().half_close(true).serve_connection(connection, service).await;
}
