//! Plots of sizes over time, as SVG that stands in the page.
//!
//! Coordinates are in units of the picture, which is as wide as a phone: text in it is read there as it is, and larger elsewhere. Many samples are
//! thinned, and never a peak with them.

use std::fmt::{self, Write};

use super::scale;

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 128.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 330.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 104.0;
/// With more samples than these, a dot for each would be a thick line.
const DOTS: usize = 45;

/// A size at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub time: i64,
    /// Bytes.
    pub value: u64,
    /// Whether it is that of all there was.
    pub is_whole: bool,
}

/// The time that a plot shows, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    begin: i64,
    end: i64,
}

impl Span {
    /// From the first sample to the last one, or now. What is dated in the future lengthens it.
    pub fn of<'s>(samples: impl Iterator<Item = &'s Sample>, now: i64) -> Self {
        let (begin, end) =
            samples.fold((now, now), |(begin, end), sample| (begin.min(sample.time), end.max(sample.time)));
        Self { begin, end }
    }

    fn length(self) -> i64 {
        self.end.saturating_sub(self.begin)
    }

    /// How far along the axis a moment is, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a picture has a few hundred places")]
    fn along(self, time: i64) -> f64 {
        let length = self.length();
        if length == 0 { 1.0 } else { time.saturating_sub(self.begin) as f64 / length as f64 }
    }

    fn x(self, time: i64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.along(time)
    }
}

/// Draws the sizes of points as a line. What is not whole has a ring.
pub fn sizes(svg: &mut String, samples: &[Sample], span: Span, most: usize) -> fmt::Result {
    let samples = thinned(samples, most);
    let top = begin(svg, "Size of each point over time", samples.iter().map(|sample| sample.value).max(), span)?;
    let place = |sample: &Sample| (span.x(sample.time), y(sample.value, top));
    svg.write_str("<path class=\"line\" d=\"")?;
    for (number, sample) in samples.iter().enumerate() {
        let (x, y) = place(sample);
        write!(svg, "{}{x:.0} {y:.1}", if number == 0 { 'M' } else { 'L' })?;
    }
    svg.write_str("\"/>\n")?;
    for sample in samples.iter().filter(|sample| !sample.is_whole || samples.len() <= DOTS) {
        let (x, y) = place(sample);
        let class = if sample.is_whole { "dot" } else { "half" };
        write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.0}\" cy=\"{y:.1}\" r=\"{}\"/>",
            if sample.is_whole { 2 } else { 3 }
        )?;
    }
    if samples.iter().any(|sample| !sample.is_whole) {
        svg.write_str("<text x=\"330\" y=\"9\" text-anchor=\"end\">ring: incomplete</text>")?;
    }
    svg.write_str("</svg>\n")
}

/// Draws what was added as bars, each for the runs of an equal part of the time.
pub fn added(svg: &mut String, samples: &[Sample], span: Span, most: usize) -> fmt::Result {
    // Bars of a unit or less would run into each other.
    let parts = most.min(60);
    let mut sums = vec![0_u64; parts];
    for sample in samples {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of parts"
        )]
        let part = (span.along(sample.time).clamp(0.0, 1.0) * parts as f64) as usize;
        if let Some(sum) = sums.get_mut(part.min(parts - 1)) {
            *sum = sum.saturating_add(sample.value);
        }
    }
    let top = begin(svg, "Bytes added to the store over time", sums.iter().copied().max(), span)?;
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let width = (RIGHT - LEFT) / parts as f64;
    svg.write_str("<path class=\"bar\" d=\"")?;
    for (part, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0) {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let x = LEFT + width * part as f64;
        // What is small beside the largest is still something.
        let height = (BOTTOM - y(*sum, top)).max(1.0);
        write!(svg, "M{x:.1} {BOTTOM}v-{height:.1}h{:.1}v{height:.1}z", (width - 1.0).max(1.0))?;
    }
    svg.write_str("\"/>\n</svg>\n")
}

/// Begins a picture, with its axes; returns what the top of the axis of sizes stands for.
fn begin(svg: &mut String, what: &str, most: Option<u64>, span: Span) -> Result<u64, fmt::Error> {
    let marks = scale::sizes(most.unwrap_or_default());
    let top = marks.last().map_or(1, |(size, _)| *size);
    write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{what}\">\n<path class=\"rule\" d=\""
    )?;
    for (size, _) in &marks {
        write!(svg, "M{LEFT} {:.1}H{RIGHT}", y(*size, top))?;
    }
    svg.write_str("\"/>\n")?;
    for (size, label) in &marks {
        write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 5.0,
            y(*size, top) + 3.5
        )?;
    }
    let length = span.length();
    let middle = span.begin + length / 2;
    let ends = [(span.begin, LEFT, "start"), (middle, f64::midpoint(LEFT, RIGHT), "middle"), (span.end, RIGHT, "end")];
    let ends = if length == 0 { &ends[2..] } else { &ends[..] };
    for (time, x, anchor) in ends {
        let label = scale::moment(*time, length);
        write!(svg, "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{label}</text>", BOTTOM + 17.0)?;
    }
    svg.write_str("\n")?;
    Ok(top)
}

#[expect(clippy::cast_precision_loss, reason = "a picture has a few hundred places")]
fn y(value: u64, top: u64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * value as f64 / top.max(1) as f64
}

/// At most so many samples: of each part of them in a row the smallest and the largest, and the very last.
fn thinned(samples: &[Sample], most: usize) -> Vec<Sample> {
    if samples.len() <= most {
        return samples.to_vec();
    }
    let mut thin = Vec::with_capacity(most);
    for part in samples.chunks(samples.len().div_ceil((most / 2).max(1))) {
        let smallest = part.iter().min_by_key(|sample| sample.value);
        let largest = part.iter().max_by_key(|sample| sample.value);
        let mut both: Vec<Sample> = smallest.into_iter().chain(largest).copied().collect();
        both.sort_by_key(|sample| sample.time);
        both.dedup();
        thin.extend(both);
    }
    if let (Some(last), Some(kept)) = (samples.last(), thin.last_mut()) {
        *kept = *last;
    }
    thin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: i64) -> Vec<Sample> {
        (0..count)
            .map(|number| Sample { time: number, value: u64::try_from(number % 7).unwrap(), is_whole: true })
            .collect()
    }

    #[test]
    fn thinned_samples_keep_peaks_and_the_end() {
        assert_eq!(thinned(&samples(5), 10), samples(5));
        let mut many = samples(3000);
        many[1234].value = 1000;
        let thin = thinned(&many, 60);
        assert!(thin.len() <= 60, "{}", thin.len());
        assert!(thin.contains(&many[1234]) && thin.last() == many.last());
        assert!(thin.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }

    #[test]
    fn everything_is_drawn_within_the_picture() {
        for count in [1, 2, 40, 3000] {
            let samples = samples(count);
            let span = Span::of(samples.iter(), count + 10);
            let mut svg = String::new();
            sizes(&mut svg, &samples, span, 60).unwrap();
            added(&mut svg, &samples, span, 60).unwrap();
            let numbers =
                svg.split(['"', ' ', 'M', 'L', 'H', 'v', 'h', 'z']).filter_map(|text| text.parse::<f64>().ok());
            let (least, most) =
                numbers.fold((f64::MAX, f64::MIN), |(least, most), number| (least.min(number), most.max(number)));
            assert!(least >= -HEIGHT && most <= WIDTH, "{count}: {least} to {most}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn single_moment_is_drawn_at_the_end() {
        let span = Span::of(samples(1).iter(), 0);
        assert!((span.x(0) - RIGHT).abs() < 0.1);
    }
}
