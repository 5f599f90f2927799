//! Latency against the share of calls that took no longer. Both scales are logarithmic, so that the tail is visible.

use std::fmt::Write;

use super::page::legend;
use super::{NOTHING, Text};

/// The latency curve of one kind of calls. Each point is a share of the calls, and the time in µs that this share did
/// not exceed.
pub struct Curve {
    pub name: String,
    /// The class in the style sheet: `ours` or `other`, or for results of calls `good`, `warm` or `bad`.
    pub class: &'static str,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
const MARKS: [(f64, &str); 6] =
    [(0.0, "0"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];

/// The vertical scale: time in µs, from one whole power of ten to another.
struct Scale {
    least: f64,
    most: f64,
}

pub fn curves(curves: &[Curve]) -> String {
    let times = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, time)| *time));
    let (least, most) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    if !least.is_finite() || least <= 0.0 {
        return NOTHING.to_owned();
    }
    let scale = Scale { least: least.log10().floor(), most: most.log10().ceil().max(least.log10().floor() + 1.0) };
    // Writing to a string cannot fail, here and below.
    let mut svg = legend(curves.iter().map(|curve| (curve.class, curve.name.as_str())));
    svg += &format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    grid(&mut svg, &scale);
    for curve in curves {
        let class = curve.class;
        let points: Vec<(f64, f64)> =
            curve.points.iter().map(|(share, time)| (across(*share), scale.up(*time))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(svg, "<path class=\"curve {class}\" d=\"M{}\"/>", path.join("L"));
        for ((x, y), (share, time)) in points.iter().zip(&curve.points) {
            let _ = writeln!(
                svg,
                "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}: {} % within {time:.0} µs</title></circle>",
                Text(&curve.name),
                share * 100.0
            );
        }
    }
    labels(&mut svg, curves, &scale);
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, scale: &Scale) {
    for (share, name) in MARKS {
        let x = across(share);
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{:.1}\"/>", HEIGHT - BOTTOM);
        let _ =
            writeln!(svg, "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{:.1}\">{name}</text>", HEIGHT - BOTTOM + 20.0);
    }
    let mut power = scale.least;
    while power <= scale.most {
        for step in [1.0, 2.0, 5.0] {
            let time = step * 10_f64.powf(power);
            if time > 10_f64.powf(scale.most) {
                break;
            }
            let y = scale.up(time);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT);
            let text = if time < 1000.0 { format!("{time} µs") } else { format!("{} ms", time / 1000.0) };
            let _ =
                writeln!(svg, "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>", LEFT - 8.0, y + 4.0);
        }
        power += 1.0;
    }
}

/// Writes names at the ends of the curves, moved apart where they would overlap.
fn labels(svg: &mut String, curves: &[Curve], scale: &Scale) {
    const APART: f64 = 18.0;
    let end = |curve: &Curve| curve.points.last().map(|(share, time)| (across(*share), scale.up(*time)));
    let mut ends: Vec<(&Curve, (f64, f64))> = curves.iter().filter_map(|curve| Some((curve, end(curve)?))).collect();
    ends.sort_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
    let mut free = 0.0;
    for (curve, (x, y)) in ends {
        let y = y.max(free);
        free = y + APART;
        let class = curve.class;
        let _ = writeln!(
            svg,
            "<text class=\"label {class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 10.0,
            y + 4.0,
            Text(&curve.name)
        );
    }
}

/// Maps a share to its x coordinate. The steps from 90 % to 99 % to 99.9 % have the same width.
fn across(share: f64) -> f64 {
    const NINES: f64 = 4.0;
    LEFT + (WIDTH - LEFT - RIGHT) * (-(1.0 - share).log10() / NINES).clamp(0.0, 1.0)
}

impl Scale {
    fn up(&self, time: f64) -> f64 {
        let share = (time.log10() - self.least) / (self.most - self.least);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_as_wide_as_each_other() {
        let widths: Vec<f64> =
            [0.0, 0.9, 0.99, 0.999, 0.9999].windows(2).map(|w| across(w[1]) - across(w[0])).collect();
        assert!(widths.iter().all(|width| (width - widths[0]).abs() < 1e-6), "{widths:?}");
    }

    #[test]
    fn a_power_of_ten_is_as_high_as_the_next() {
        let scale = Scale { least: 1.0, most: 3.0 };
        assert!((scale.up(100.0) - (scale.up(10.0) + scale.up(1000.0)) / 2.0).abs() < 1e-6);
    }
}
