//! A line of the report: target, result and verdict.

use serde_json::{Value, json};

use super::super::stats::Spread;

pub(in super::super) struct Line {
    pub(in super::super) what: String,
    target: Option<Target>,
    measured: String,
    ratio: Option<Ratio>,
    /// True if there is no measurement.
    absent: bool,
    values: Value,
}

/// A measurement and its target.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Goal {
    pub(in super::super) what: &'static str,
    target: Target,
}

/// The bound on a value.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Target {
    bound: f64,
    unit: &'static str,
    is_least: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    /// There is no target.
    Told,
    Met,
    Missed,
    /// There is no measurement.
    Absent,
}

#[derive(Clone, Copy, Debug)]
enum Ratio {
    /// The ratio to another server, which the line names.
    Relative(Spread),
    /// The ratio to the target.
    OfTarget(f64),
}

impl Target {
    pub(in super::super) const fn at_least(bound: f64, unit: &'static str) -> Self {
        Self { bound, unit, is_least: true }
    }

    pub(in super::super) const fn at_most(bound: f64, unit: &'static str) -> Self {
        Self { bound, unit, is_least: false }
    }

    fn is_met(self, value: f64) -> bool {
        if self.is_least { value >= self.bound } else { value <= self.bound }
    }

    fn text(self) -> String {
        let sign = if self.is_least { '≥' } else { '≤' };
        format!("{sign} {} {}", self.bound, self.unit)
    }
}

impl Goal {
    pub(in super::super) const fn new(what: &'static str, target: Target) -> Self {
        Self { what, target }
    }

    /// Makes a line whose result is a ratio.
    pub(in super::super) fn ratio(&self, ratio: Spread, measured: String) -> Line {
        Line { target: Some(self.target), ..Line::ratio(self.what, ratio, measured) }
    }

    /// Makes a line whose result is a number in the unit of the target.
    pub(in super::super) fn bounded(&self, value: f64, measured: String, values: Value) -> Line {
        let ratio = Some(Ratio::OfTarget(value / self.target.bound));
        let (what, target) = (self.what.to_owned(), Some(self.target));
        Line { what, target, measured, ratio, absent: false, values }
    }

    /// Makes a line without a result, with the reason.
    pub(in super::super) fn absent(&self, why: &str) -> Line {
        Line { target: Some(self.target), ..Line::absent(self.what, why) }
    }
}

impl Line {
    /// Makes a line for a ratio without a target.
    pub(in super::super) fn ratio(what: &str, ratio: Spread, measured: String) -> Self {
        let (what, values) = (what.to_owned(), json!({ "ratio": ratio.values() }));
        Self { what, target: None, measured, ratio: Some(Ratio::Relative(ratio)), absent: false, values }
    }

    /// Makes a line for a result without a target.
    pub(in super::super) fn told(what: &str, measured: String, values: Value) -> Self {
        Self { what: what.to_owned(), target: None, measured, ratio: None, absent: false, values }
    }

    /// Makes a line without target and result, with the reason.
    pub(in super::super) fn absent(what: &str, why: &str) -> Self {
        let (what, measured) = (what.to_owned(), format!("not measured: {why}"));
        Self { what, target: None, measured, ratio: None, absent: true, values: json!({ "absent": why }) }
    }

    /// Adds values to the JSON form.
    pub(in super::super) fn with_values(mut self, values: Value) -> Self {
        if let (Value::Object(own), Value::Object(more)) = (&mut self.values, values) {
            own.extend(more);
        }
        self
    }

    pub(in super::super) fn verdict(&self) -> Verdict {
        if self.absent {
            return Verdict::Absent;
        }
        let Some(target) = self.target else { return Verdict::Told };
        let is_met = match self.ratio {
            Some(Ratio::Relative(ratio)) => target.is_met(ratio.median),
            Some(Ratio::OfTarget(ratio)) => target.is_met(ratio * target.bound),
            None => false,
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }

    /// Returns the cells of the table: what, target, measured, ratio, verdict.
    pub(in super::super) fn cells(&self) -> [String; 5] {
        let target = self.target.map(Target::text).unwrap_or_default();
        let ratio = match self.ratio {
            Some(Ratio::Relative(Spread { median, least, most })) => {
                format!("{} ({}–{})", short(median), short(least), short(most))
            }
            Some(Ratio::OfTarget(ratio)) => short(ratio),
            None => String::new(),
        };
        let verdict = match self.verdict() {
            Verdict::Told => "",
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Absent => "not measured",
        };
        [self.what.clone(), target, self.measured.clone(), ratio, verdict.to_owned()]
    }

    pub(in super::super) fn values(&self) -> Value {
        let met = match self.verdict() {
            Verdict::Met => Some(true),
            Verdict::Missed => Some(false),
            Verdict::Told | Verdict::Absent => None,
        };
        let ratio = self.ratio.map(|ratio| match ratio {
            Ratio::Relative(ratio) => ratio.median,
            Ratio::OfTarget(ratio) => ratio,
        });
        json!({
            "what": self.what,
            "target": self.target.map(Target::text),
            "measured": self.measured,
            "ratio": ratio,
            "met": met,
            "values": self.values,
        })
    }
}

/// Formats with three significant digits.
fn short(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, least: median / 2.0, most: median * 2.0 }
    }

    #[test]
    fn a_target_for_a_ratio_judges_its_median() {
        let line = |median, target| Goal::new("a", target).ratio(spread(median), "1 to 2".into()).verdict();
        assert_eq!(line(0.85, Target::at_least(0.85, "×")), Verdict::Met);
        assert_eq!(line(0.84, Target::at_least(0.85, "×")), Verdict::Missed);
        assert_eq!(line(1.2, Target::at_most(1.2, "×")), Verdict::Met);
        assert_eq!(line(f64::NAN, Target::at_most(1.2, "×")), Verdict::Missed);
        assert_eq!(Line::ratio("a", spread(1.0), String::new()).verdict(), Verdict::Told);
    }

    #[test]
    fn a_bound_is_what_the_ratio_is_to() {
        let line = Goal::new("b", Target::at_most(50.0, "µs")).bounded(75.0, "75 µs".into(), json!({}));
        assert_eq!(line.cells(), ["b", "≤ 50 µs", "75 µs", "1.50", "MISSED"]);
        assert_eq!(line.values()["met"], false);
    }

    #[test]
    fn what_is_not_measured_still_has_its_target_and_a_verdict() {
        let line = Goal::new("c", Target::at_least(5.0, "×")).absent("not installed");
        assert_eq!(line.cells(), ["c", "≥ 5 ×", "not measured: not installed", "", "not measured"]);
        assert_eq!(line.values()["met"], Value::Null);
    }
}
