//! Numbers for human readers.

/// Formats a number with at least three digits, in groups of three.
pub fn grouped(number: f64) -> String {
    match number {
        ..10.0 => return format!("{number:.2}"),
        ..100.0 => return format!("{number:.1}"),
        _ => {}
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Returns the least number, not below `value`, that is 1, 2 or 5 times a power of ten.
pub(crate) fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(["7.46", "38.2"], [grouped(7.456), grouped(38.21)].map(|text| text));
        assert_eq!(grouped(131_204.4), "131\u{202f}204");
        assert_eq!(grouped(999.0), "999");
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, round) in [(0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (47_000.0, 50_000.0), (51.0, 100.0)] {
            assert!((round_up(value) / round - 1.0).abs() < 1e-9, "{value}");
        }
    }
}
