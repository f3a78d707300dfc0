//! An S3 on loopback for benchmarks and for tests of other processes.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser;
use longhaul_testing::{Discard, Keys, Store, StoreConfig, TestS3, serve};

/// Serves S3 from memory on 127.0.0.1 until it is killed.
#[derive(Parser)]
struct Args {
    /// The port; 0 takes one that is free.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The only access key id that is admitted.
    #[arg(long, default_value = "test")]
    access_key: String,
    /// Its secret.
    #[arg(long, default_value = "test")]
    secret_key: String,
    /// Fills a bucket: BUCKET:COUNT:SIZE[:PREFIX[:PART_SIZE]]. The bytes follow from the names and
    /// cost no memory; a part size makes them multipart objects.
    #[arg(long, value_parser = generate)]
    generate: Vec<Generate>,
    /// Keeps no received bytes, only their digests, and compares them with a generated bucket:
    /// SOURCE_BUCKET[:DESTINATION_PREFIX[:SOURCE_PREFIX]].
    #[arg(long, value_parser = discard)]
    discard_bodies: Option<Discard>,
    /// Makes an empty bucket.
    #[arg(long)]
    bucket: Vec<String>,
    /// Makes an empty bucket that keeps versions.
    #[arg(long)]
    versioned_bucket: Vec<String>,
    /// Bytes that every part but the last must have; that of S3 if absent.
    #[arg(long)]
    min_part_size: Option<u64>,
}

#[derive(Clone)]
struct Generate {
    bucket: String,
    count: u64,
    size: u64,
    prefix: String,
    part_size: Option<u64>,
}

fn generate(text: &str) -> Result<Generate, String> {
    let fields: Vec<&str> = text.split(':').collect();
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let [bucket, count, size, rest @ ..] = fields.as_slice() else {
        return Err("BUCKET:COUNT:SIZE[:PREFIX[:PART_SIZE]] is expected".to_owned());
    };
    Ok(Generate {
        bucket: (*bucket).to_owned(),
        count: number(count)?,
        size: number(size)?,
        prefix: rest.first().copied().unwrap_or_default().to_owned(),
        part_size: rest.get(1).map(|text| number(text)).transpose()?,
    })
}

fn discard(text: &str) -> Result<Discard, String> {
    let mut fields = text.splitn(3, ':').map(str::to_owned);
    Ok(Discard {
        bucket: fields.next().unwrap_or_default(),
        destination_prefix: fields.next().unwrap_or_default(),
        source_prefix: fields.next().unwrap_or_default(),
    })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let mut config = StoreConfig { discard: args.discard_bodies, ..StoreConfig::default() };
    if let Some(size) = args.min_part_size {
        config.min_part_size = size;
    }
    let store = Store::new(config);
    args.bucket.iter().for_each(|bucket| store.bucket(bucket));
    args.versioned_bucket.iter().for_each(|bucket| store.versioned_bucket(bucket));
    for spec in &args.generate {
        store.bucket(&spec.bucket);
        for number in 0..spec.count {
            let key = format!("{}{number:06}", spec.prefix);
            store.put_generated(&spec.bucket, &key, spec.size, spec.part_size);
        }
    }
    let keys = Keys { access_key: args.access_key, secret_key: args.secret_key };
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let (addr, served) = serve(&TestS3::new(store, keys), addr).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening {addr}")?;
    stdout.flush()?;
    served.ended().await;
    Ok(())
}
