#![allow(clippy::unwrap_used)]
use super::*;
use crate::backfill::manifest::SMALL_OBJECTS_MAX;
use crate::config::{Options, Side};
use crate::layout::{MIB, OBJECT_MAX, PART_DEFAULT, PartLayout};
use proptest::prelude::*;

fn counted(sizes: &[u64]) -> Counts {
    let mut counts = Counts::default();
    for size in sizes {
        let parts = PartLayout::new(*size, PART_DEFAULT).map_or(1, |layout| u64::from(layout.count()));
        counts.listed += 1;
        counts.offer(Some(*size), parts, false);
    }
    counts
}

fn small(objects: u64, size: u64) -> Counts {
    let mut counts = counted(&[]);
    for _ in 0..objects {
        counts.listed += 1;
        counts.offer(Some(size), 1, false);
    }
    counts.manifests = objects.div_ceil(SMALL_OBJECTS_MAX as u64);
    counts.source_pages = objects.div_ceil(1_000);
    counts
}

fn line<'a>(estimate: &'a Estimate, name: &str) -> &'a Line {
    estimate.lines.iter().find(|line| line.name == name).unwrap()
}

fn exceeded(estimate: &Estimate) -> Vec<&str> {
    estimate.limits.iter().filter(|finding| finding.exceeded).map(|finding| finding.name).collect()
}

#[test]
fn orchestration_of_small_objects_is_under_a_twentieth() {
    let counts = small(500_000, 64 * 1024);
    for transfer in [Transfer::Free, Transfer::BetweenRegions, Transfer::Internet] {
        let estimate = Estimate::of(&counts, &Assumptions { transfer, ..Assumptions::default() });
        let steps = line(&estimate, "Step Functions").dollars;
        let share = steps / estimate.total_without_transfer;
        assert!(share < 0.05, "{share} of {}", estimate.text());
    }
}

#[test]
fn a_terabyte_in_parts_costs_what_the_design_says() {
    let counts = counted(&[64 << 30; 16]);
    let estimate = Estimate::of(&counts, &Assumptions { transfer: Transfer::Internet, ..Assumptions::default() });
    assert_eq!(estimate.destination.count("UploadPart"), 16 * 8_192);
    assert!((line(&estimate, "S3 at the destination").dollars - 0.66).abs() < 0.02, "{}", estimate.text());
    assert!((line(&estimate, "data transfer").dollars - 92.16).abs() < 0.01);
    assert!(exceeded(&estimate).is_empty(), "{}", estimate.text());
}

#[test]
fn time_follows_the_rate() {
    let counts = counted(&[100 << 30]);
    let at = |rate| Estimate::of(&counts, &Assumptions { rate: Some(rate), ..Assumptions::default() });
    let (slow, fast) = (at(10_000_000), at(100_000_000));
    assert!(slow.seconds.abs_diff((100 << 30) / 10_000_000) < 60 && fast.seconds < slow.seconds / 8);
    // Functions that wait for a slow link are paid for.
    assert!(slow.gb_seconds > 5.0 * fast.gb_seconds);
    let own = Estimate::of(&counts, &Assumptions::default());
    assert_eq!(own.rate, 40 * 75_000_000);
}

#[test]
fn limits_are_found() {
    let mut counts = counted(&[100 << 30, 1_000, OBJECT_MAX + 1]);
    counts.offer(None, 0, false);
    counts.archived = 2;
    counts.manifests = 3;
    let wide = Assumptions { concurrency: 100, copy_concurrency: Some(50), ..Assumptions::default() };
    let estimate = Estimate::of(&counts, &wide);
    assert_eq!(exceeded(&estimate), ["objectSize", "copyConcurrency", "archived", "unsized"]);
    assert!(estimate.lower_bound && estimate.text().contains("at least"));
    let account = Assumptions { concurrency: 1_000, ..Assumptions::default() };
    assert!(exceeded(&Estimate::of(&small(2_000_000, 10), &account)).contains(&"copyConcurrency"));
}

#[test]
fn texts_are_aligned_and_json_is_camel_case() {
    let estimate = Estimate::of(&small(10_000, 5_000), &Assumptions::default());
    let text = estimate.text();
    let bill: Vec<&str> =
        text.lines().skip_while(|line| !line.starts_with("cost")).take_while(|line| !line.is_empty()).collect();
    assert!(bill.len() > 12 && bill.iter().all(|line| line.chars().count() == bill[0].chars().count()), "{text}");
    let json = serde_json::to_value(&estimate).unwrap();
    assert_eq!(json["source"]["GetObject"], 10_000);
    assert!(json["gbSeconds"].as_f64().unwrap() > 0.0 && json["totalWithoutTransfer"].is_number());
    let empty = Estimate::of(&Counts::default(), &Assumptions::default());
    assert_eq!((empty.source.total(), empty.destination.total(), empty.bytes), (0, 0, 0));
}

proptest! {
    #[test]
    fn more_costs_more(sizes in prop::collection::vec(0..300 * MIB, 1..50), more in 0..300 * MIB) {
        let of = |sizes: &[u64]| Estimate::of(&counted(sizes), &Assumptions::default());
        let less = of(&sizes);
        let mut sizes = sizes;
        sizes.push(more);
        let all = of(&sizes);
        prop_assert!(all.total > less.total && all.source.total() > less.source.total());
        prop_assert!((all.total - all.lines.iter().map(|line| line.dollars).sum::<f64>()).abs() < 1e-9);
        prop_assert!(all.lines.iter().all(|line| line.dollars >= 0.0));
    }
}

#[test]
fn the_way_of_the_bytes_is_told_by_the_sides() {
    let of = |from: Option<&str>, to: Option<&str>, endpoints: [Option<&str>; 2]| {
        let side = |region: Option<&str>, endpoint: Option<&str>| Side {
            region: region.map(Into::into),
            endpoint: endpoint.map(Into::into),
            ..Side::default()
        };
        let (source, destination) = (side(from, endpoints[0]), side(to, endpoints[1]));
        Transfer::of(&Route { name: String::new(), source, destination, options: Options::default() })
    };
    assert_eq!(of(Some("us-east-1"), Some("cn-north-1"), [None, None]), Transfer::Internet);
    assert_eq!(of(None, Some("cn-north-1"), [None, None]), Transfer::Internet);
    assert_eq!(of(Some("us-east-1"), Some("us-east-1"), [None, None]), Transfer::Free);
    assert_eq!(of(Some("us-east-1"), Some("eu-west-1"), [None, None]), Transfer::BetweenRegions);
    assert_eq!(of(None, None, [None, None]), Transfer::BetweenRegions);
    assert_eq!(of(Some("us-east-1"), None, [None, Some("https://store")]), Transfer::Internet);
    assert_eq!(of(None, Some("us-east-1"), [Some("https://store"), None]), Transfer::Free);
}
