//! Runs seeds and tells which broke a promise.
#![allow(clippy::print_stdout, reason = "it is a command")]

use clap::Parser;
use longhaul_simulation::{Report, run};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lines of history that a failing seed shows.
const SHOWN: usize = 60;

/// Runs the product through seeded disasters and checks its promises.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This one alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Shows the whole history.
    #[arg(long)]
    verbose: bool,
    /// Seeds at once, each on a thread of its own.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Ends with the first seed that breaks a promise.
    #[arg(long)]
    first: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (from, seeds) = args.seed.map_or((args.from, args.seeds), |seed| (seed, 1));
    let began = Instant::now();
    let (next, reports) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let workers: Vec<_> = (0..args.jobs.max(1))
        .map(|_| {
            let (next, reports, verbose) = (next.clone(), reports.clone(), args.verbose);
            std::thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let mut report = run(from + number);
                    if args.first && !report.violations.is_empty() {
                        next.store(seeds, Relaxed);
                    }
                    show(&report, verbose);
                    report.lines.clear();
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push((number, report));
                }
            })
        })
        .collect();
    let panicked = workers.into_iter().filter_map(|worker| worker.join().err()).count();
    let reports = std::mem::take(&mut *reports.lock().unwrap_or_else(PoisonError::into_inner));
    let mut counted = BTreeMap::<&str, u64>::new();
    let mut broken = BTreeMap::<&str, Vec<u64>>::new();
    for (_, report) in &reports {
        for (why, count) in &report.counted {
            *counted.entry(why).or_default() += count;
        }
        for violation in &report.violations {
            let seeds = broken.entry(violation.invariant).or_default();
            if seeds.last() != Some(&report.seed) {
                seeds.push(report.seed);
            }
        }
    }
    let failing = reports.iter().filter(|(_, report)| !report.violations.is_empty()).count();
    let disasters: u64 = reports.iter().map(|(_, report)| report.disasters).sum();
    println!(
        "{} seeds from {from} in {:.1} s: {disasters} disasters, {failing} seeds broke a promise",
        reports.len(),
        began.elapsed().as_secs_f64()
    );
    for (why, count) in counted {
        println!("  {count} x {why}");
    }
    for (invariant, seeds) in &broken {
        println!("  {invariant}: {} seeds, such as {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    if failing + panicked > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn show(report: &Report, verbose: bool) {
    if report.violations.is_empty() && !verbose {
        return;
    }
    let mut told = format!("seed {}\n{:#?}\n", report.seed, report.scenario);
    let first = report.lines.iter().position(|line| line.contains("!!!")).unwrap_or(report.lines.len());
    let shown =
        if verbose { 0..report.lines.len() } else { first.saturating_sub(SHOWN)..report.lines.len().min(first + 4) };
    for line in &report.lines[shown] {
        told.push_str(line);
        told.push('\n');
    }
    for violation in &report.violations {
        told.push_str(&format!("seed {} broke {}: {}\n", report.seed, violation.invariant, violation.told));
    }
    println!("{told}again: cargo run -p longhaul-simulation --bin simulate -- --seed {} --verbose\n", report.seed);
}
