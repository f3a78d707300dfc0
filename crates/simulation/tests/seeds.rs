//! A few dozen seeds, and that a seed decides everything.

use longhaul_simulation::run;

#[test]
fn the_promises_hold_under_a_few_dozen_seeds() {
    for seed in 0..40 {
        let report = run(seed);
        let told = report.lines.iter().rev().take(60).rev().cloned().collect::<Vec<_>>().join("\n");
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}\n{told}", report.violations);
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 100..120 {
        let (one, other) = (run(seed), run(seed));
        let differs = one.lines.iter().zip(&other.lines).position(|(one, other)| one != other);
        assert_eq!(differs.map(|at| (&one.lines[at], &other.lines[at])), None, "seed {seed}");
        assert_eq!(one.lines.len(), other.lines.len(), "seed {seed}");
    }
}
