//! Plots as SVG. Widths are shares of the place they get and text keeps its size, so that they fit any screen.

use super::escape::text;
use crate::backfill::counts::Histogram;
use crate::backfill::summary::Throughput;
use crate::backfill::summary::words::{bytes, counted, duration, number, percent, rate};

/// A stretch of a bar: a class of the style sheet, how much, and what it is.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) class: &'a str,
    pub(super) name: &'a str,
    pub(super) count: u64,
}

/// A bar whose stretches add up to its whole.
pub(super) fn bar(label: &str, segments: &[Segment<'_>]) -> String {
    let whole: u64 = segments.iter().map(|segment| segment.count).sum();
    let told: Vec<String> = segments
        .iter()
        .filter(|segment| segment.count > 0)
        .map(|segment| format!("{} {}", number(segment.count), segment.name))
        .collect();
    let mut svg = format!(
        "<svg class=\"bar\" role=\"img\" aria-label=\"{}: {}\" width=\"100%\" height=\"18\"><rect class=\"track\" width=\"100%\" height=\"18\" rx=\"4\"/>",
        text(label),
        text(&told.join(", "))
    );
    let mut at = 0.0;
    for segment in segments.iter().filter(|segment| segment.count > 0) {
        let share = segment.count as f64 * 100.0 / whole as f64;
        svg.push_str(&format!(
            "<rect class=\"{}\" x=\"{at:.3}%\" width=\"{share:.3}%\" height=\"18\"><title>{}: {} ({})</title></rect>",
            segment.class,
            text(segment.name),
            number(segment.count),
            percent(segment.count, whole)
        ));
        at += share;
    }
    svg.push_str("</svg>");
    svg
}

/// Distance between lines at rates, so that there are at most five: 1, 2 or 5 of a decimal place of a binary unit.
fn rate_step(highest: f64) -> f64 {
    let mut unit = 1.0;
    while highest / unit >= 1_023.5 {
        unit *= 1_024.0;
    }
    let mut step = unit;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if highest / step <= 5.0 {
            break;
        }
        step *= factor;
    }
    // Below one of its unit a rate has a decimal place or two.
    while unit > 1.0 && highest / step < 2.0 {
        step /= 2.0;
    }
    step
}

/// Distance between marks of time in milliseconds, so that there are at most six.
fn time_step(whole_ms: u64) -> u64 {
    const SECONDS: [u64; 21] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800,
        432_000, 864_000,
    ];
    let fits = SECONDS.into_iter().map(|seconds| seconds * 1_000).find(|step| whole_ms / step <= 6);
    fits.unwrap_or_else(|| (whole_ms / 6).next_power_of_two().max(1))
}

/// Bytes a second over the time of a run.
pub(super) fn throughput(throughput: &Throughput) -> String {
    let buckets = throughput.bytes.len() as u64;
    let highest = throughput.rates().fold(0.0, f64::max);
    if highest <= 0.0 {
        return "<p class=\"none\">No byte was moved.</p>".into();
    }
    let whole_ms = buckets.saturating_mul(throughput.bucket_ms);
    let average = throughput.total() as f64 * 1_000.0 / whole_ms as f64;
    let step = rate_step(highest);
    let top = (highest / step).ceil() * step;
    let mut lines = String::new();
    let mut labels = String::new();
    for index in 0..=((top / step).round() as u32) {
        let share = f64::from(index) * step * 100.0 / top;
        lines.push_str(&format!(
            "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{0:.3}%\" y2=\"{0:.3}%\"/>",
            100.0 - share
        ));
        labels.push_str(&format!("<span style=\"bottom:{share:.3}%\">{}</span>", rate(f64::from(index) * step)));
    }
    let width = 100.0 / buckets as f64;
    // A hair's breadth between the bars, as long as they are few.
    let gap = if buckets <= 60 { width * 0.12 } else { 0.0 };
    let mut bars = String::new();
    for (index, (moved, speed)) in throughput.bytes.iter().zip(throughput.rates()).enumerate() {
        let share = speed * 100.0 / top;
        let from = index as u64 * throughput.bucket_ms;
        bars.push_str(&format!(
            "<rect class=\"moved\" x=\"{:.3}%\" y=\"{:.3}%\" width=\"{:.3}%\" height=\"{share:.3}%\"><title>{} to {}: {}, {}</title></rect>",
            index as f64 * width + gap / 2.0,
            100.0 - share,
            width - gap,
            duration(from),
            duration(from + throughput.bucket_ms),
            bytes(*moved),
            rate(speed)
        ));
    }
    let mut times = String::new();
    let tick = time_step(whole_ms);
    for at in (0..=whole_ms / tick).map(|number| number * tick) {
        let share = at as f64 * 100.0 / whole_ms as f64;
        let class = if share > 92.0 { " class=\"end\"" } else { "" };
        let name = if at == 0 { "0".to_owned() } else { duration(at) };
        times.push_str(&format!("<span{class} style=\"left:{share:.3}%\">{name}</span>"));
    }
    let told = format!(
        "Peak {}, average {} over {}. Each bar is {}.",
        rate(highest),
        rate(average),
        duration(whole_ms),
        duration(throughput.bucket_ms)
    );
    let line = 100.0 - average * 100.0 / top;
    format!(
        "<p class=\"told\">{told} <span class=\"key-line\"></span> average</p>\
         <div class=\"plot\"><div class=\"y\" aria-hidden=\"true\">{labels}</div>\
         <svg id=\"throughput\" role=\"img\" aria-label=\"Throughput over time. {told}\" width=\"100%\" height=\"220\">{lines}{bars}\
         <line class=\"average\" x1=\"0\" x2=\"100%\" y1=\"{line:.3}%\" y2=\"{line:.3}%\"/></svg>\
         <div class=\"x\" aria-hidden=\"true\">{times}</div><div class=\"x-name\" aria-hidden=\"true\">since the run began</div></div>"
    )
}

/// Objects and bytes by size: a table whose bars are drawn beside the numbers.
pub(super) fn sizes(sizes: &Histogram) -> String {
    let classes: Vec<_> = sizes.classes().collect();
    let (objects, volume) = classes.iter().fold((0, 0), |sum, class| (sum.0 + class.1, sum.1 + class.2));
    if objects == 0 {
        return "<p class=\"none\">No object was offered, or none told its size.</p>".into();
    }
    let most = |of: fn(&(Option<u64>, u64, u64)) -> u64| classes.iter().map(of).max().unwrap_or_default().max(1) as f64;
    let (most_objects, most_bytes) = (most(|class| class.1), most(|class| class.2));
    let first = classes.iter().position(|class| class.1 > 0).unwrap_or_default();
    let mut rows = String::new();
    let mut below = None;
    for (index, (largest, objects_here, bytes_here)) in classes.into_iter().enumerate() {
        let name = match (below, largest) {
            (_, Some(0)) => "empty".to_owned(),
            (None | Some(0), Some(largest)) => format!("up to {}", bytes(largest)),
            (Some(below), Some(largest)) => format!("{} – {}", bytes(below), bytes(largest)),
            (below, None) => format!("above {}", bytes(below.unwrap_or_default())),
        };
        below = largest;
        // Empty classes between others belong to the picture.
        if index < first {
            continue;
        }
        let stroke = |class: &str, y: u32, value: u64, most: f64| {
            let share = if value == 0 { 0.0 } else { (value as f64 * 100.0 / most).max(0.4) };
            format!("<rect class=\"{class}\" y=\"{y}\" width=\"{share:.2}%\" height=\"7\" rx=\"2\"/>")
        };
        rows.push_str(&format!(
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"wide\" aria-hidden=\"true\">\
             <svg width=\"100%\" height=\"17\" role=\"presentation\">{}{}</svg></td></tr>",
            number(objects_here),
            bytes(bytes_here),
            stroke("objects", 1, objects_here, most_objects),
            stroke("bytes", 9, bytes_here, most_bytes)
        ));
    }
    format!(
        "<p class=\"told\">{} offered with {}. <span class=\"swatch objects\"></span> objects <span class=\"swatch bytes\"></span> bytes, each against its largest class.</p>\
         <div class=\"scroll\" role=\"region\" aria-label=\"Sizes\" tabindex=\"0\"><table id=\"sizes\"><thead><tr><th scope=\"col\">Size</th>\
         <th scope=\"col\" class=\"n\">Objects</th><th scope=\"col\" class=\"n\">Bytes</th><td class=\"wide\"></td></tr></thead><tbody>{rows}</tbody></table></div>",
        counted(objects, "object"),
        bytes(volume)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_few_round_marks() {
        for highest in [1.0, 7.0, 999.0, 1_024.0, 3.0e6, 9.7e8, 1.1e12] {
            let step = rate_step(highest);
            let lines = (highest / step).ceil();
            assert!((1.0..=6.0).contains(&lines), "{highest}: {step}");
        }
        assert_eq!(rate_step(37.0 * 1_048_576.0), 10.0 * 1_048_576.0);
        for whole in [1, 900, 61_000, 5_400_000, 86_400_000 * 3, 1 << 50] {
            assert!((0..=9).contains(&(whole / time_step(whole))), "{whole}");
        }
    }

    #[test]
    fn every_bucket_has_its_bar() {
        let mut moved = Throughput::from(0);
        moved.add(1 << 30, 500, 90_000);
        let svg = throughput(&moved);
        assert_eq!(svg.matches("class=\"moved\"").count(), moved.bytes.len());
        assert!(svg.contains("Peak"), "{svg}");
        assert!(throughput(&Throughput::from(0)).contains("No byte"));
    }

    #[test]
    fn sizes_begin_with_the_first_class_that_holds_something() {
        let mut histogram = Histogram::default();
        histogram.add(3_000);
        histogram.add(70_000);
        let html = sizes(&histogram);
        assert_eq!(html.matches("<tr>").count(), 5, "{html}");
        assert!(html.contains("1 KiB – 4 KiB") && html.contains("64 KiB – 256 KiB"), "{html}");
        assert!(sizes(&Histogram::default()).contains("No object"));
    }
}
