//! A long link between two network namespaces, for kernels without `netem`.
//!
//! Packets are carried between two TUN devices with delay, random loss and, if wanted, a limited rate. What runs over
//! it is the kernel's own TCP.

use clap::Parser;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Carries packets until it is killed. Prints one line when the link stands.
#[derive(Debug, Parser)]
struct Args {
    /// The namespace of the near end, which becomes 10.77.0.1.
    #[arg(long)]
    near: String,
    /// The namespace of the far end, which becomes 10.77.0.2.
    #[arg(long)]
    far: String,
    /// Round trip in milliseconds.
    #[arg(long, default_value_t = 200)]
    rtt_ms: u64,
    /// Packets lost, in percent, in each direction and independent of each other.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Mbit/s in each direction; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Seed of the losses.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type Failed = Box<dyn std::error::Error>;

/// A packet, and when it arrives.
type Packet = (Instant, Vec<u8>);

/// A limited rate holds packets back for this long, then drops what comes.
const QUEUE: Duration = Duration::from_millis(100);
/// Packets that arrive within this time of each other are delivered together: a thread wakes up no more often.
const TICK: Duration = Duration::from_micros(500);
/// Ethernet's.
const MTU: usize = 1_500;

fn main() -> Result<(), Failed> {
    let args = Args::parse();
    let near = Arc::new(device(&args.near, "10.77.0.1", "10.77.0.2")?);
    let far = Arc::new(device(&args.far, "10.77.0.2", "10.77.0.1")?);
    let threads = [carry(&near, &far, &args, 0), carry(&far, &near, &args, 1)];
    std::io::Write::write_all(&mut std::io::stdout(), b"up\n")?;
    for thread in threads.into_iter().flatten() {
        thread.join().map_err(|_| "a direction of the link has failed")??;
    }
    Ok(())
}

/// A TUN device in a namespace, up and with its address. It vanishes with this process.
fn device(namespace: &str, own: &str, peer: &str) -> Result<SyncDevice, Failed> {
    let name = format!("t{namespace}");
    let device = DeviceBuilder::new().name(&name).enable(false).build_sync()?;
    ip(&["link", "set", &name, "netns", namespace])?;
    ip(&["-n", namespace, "addr", "add", own, "peer", peer, "dev", &name])?;
    ip(&["-n", namespace, "link", "set", &name, "mtu", &MTU.to_string(), "txqueuelen", "20000", "up"])?;
    Ok(device)
}

fn ip(words: &[&str]) -> Result<(), Failed> {
    let status = Command::new("ip").args(words).status()?;
    if status.success() { Ok(()) } else { Err(format!("ip {}: {status}", words.join(" ")).into()) }
}

type Direction = [JoinHandle<std::io::Result<()>>; 2];

/// Starts the threads of one direction.
fn carry(from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, args: &Args, number: u64) -> Direction {
    let (from, to) = (Arc::clone(from), Arc::clone(to));
    let (sender, receiver) = channel();
    let way = Way {
        delay: Duration::from_micros(args.rtt_ms * 500),
        loss: args.loss / 100.0,
        bytes_per_second: f64::from(args.rate) * 1e6 / 8.0,
        free: Instant::now(),
        random: StdRng::seed_from_u64(args.seed * 2 + number),
    };
    [thread::spawn(move || take(&from, way, &sender)), thread::spawn(move || deliver(&to, &receiver))]
}

/// What happens to the packets of one direction.
struct Way {
    delay: Duration,
    loss: f64,
    /// 0 for no limit.
    bytes_per_second: f64,
    /// When the packets sent so far have left.
    free: Instant,
    random: StdRng,
}

impl Way {
    /// When a packet of `size` bytes sent `now` arrives; `None` if it is lost.
    fn arrival(&mut self, now: Instant, size: usize) -> Option<Instant> {
        if self.random.random_bool(self.loss) {
            return None;
        }
        if self.bytes_per_second == 0.0 {
            return Some(now + self.delay);
        }
        let free = self.free.max(now) + Duration::from_secs_f64(size as f64 / self.bytes_per_second);
        if free > now + QUEUE {
            return None;
        }
        self.free = free;
        Some(free + self.delay)
    }
}

fn take(from: &SyncDevice, mut way: Way, sender: &Sender<Packet>) -> std::io::Result<()> {
    let mut bytes = vec![0; 65_536];
    loop {
        let size = from.recv(&mut bytes)?;
        let Some(due) = way.arrival(Instant::now(), size) else { continue };
        if sender.send((due, bytes[..size].to_vec())).is_err() {
            return Ok(());
        }
    }
}

/// Arrivals ascend, so the first that came in is the first due.
fn deliver(to: &SyncDevice, receiver: &Receiver<Packet>) -> std::io::Result<()> {
    for (due, packet) in receiver {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait.max(TICK));
        }
        // A full queue drops packets, as a link does.
        let _ = to.send(&packet);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(loss: f64, bytes_per_second: f64, now: Instant) -> Way {
        let random = StdRng::seed_from_u64(1);
        Way { delay: Duration::from_millis(100), loss, bytes_per_second, free: now, random }
    }

    #[test]
    fn packets_are_delayed_and_lost() {
        let now = Instant::now();
        assert_eq!(way(0.0, 0.0, now).arrival(now, 1_500), Some(now + Duration::from_millis(100)));
        let mut lossy = way(0.25, 0.0, now);
        let lost = (0..10_000).filter(|_| lossy.arrival(now, 1_500).is_none()).count();
        assert!((2_000..3_000).contains(&lost), "{lost}");
    }

    #[test]
    fn a_limited_rate_queues_packets_then_drops_them() {
        let now = Instant::now();
        let mut limited = way(0.0, 100_000.0, now);
        let arrivals: Vec<_> = (0..12).map(|_| limited.arrival(now, 1_000)).collect();
        assert_eq!(arrivals[0], Some(now + Duration::from_millis(110)));
        assert_eq!(arrivals[9], Some(now + Duration::from_millis(200)));
        assert_eq!(arrivals[10..], [None, None]);
    }
}
