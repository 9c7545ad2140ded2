//! Statistics: what is said of many runs, and of many samples of one run.
//!
//! Medians and extremes only: machines are noisy, and a mean hides it.

use serde::Serialize;

/// One number over the runs of a bench.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Figure {
    /// The figure of some values; `None` if there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let values = sorted(values);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { upper };
        let median = f64::midpoint(lower, upper);
        Some(Self { median: round(median), min: round(min), max: round(max) })
    }
}

/// The smallest sample that at least `percent` of all do not exceed (nearest rank); `None` of none.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let samples = sorted(samples);
    let rank = (samples.len() as f64 * percent / 100.0).ceil() as usize;
    samples.get(rank.max(1) - 1).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Five significant digits: more is noise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 4 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.abs());
    if digits < 0 { (value / scale).round() * scale } else { (value * scale).round() / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        let figure = Figure::of(&[3.0, 1.0, 2.0]);
        assert_eq!(figure, Some(Figure { median: 2.0, min: 1.0, max: 3.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let figure = Figure::of(&[4.0, 1.0, 2.0, 10.0]);
        assert_eq!(figure, Some(Figure { median: 3.0, min: 1.0, max: 10.0 }));
    }

    #[test]
    fn one_value_is_its_own_median_and_none_has_no_figure() {
        assert_eq!(Figure::of(&[7.0]), Some(Figure { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Figure::of(&[]), None);
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 50.0), Some(100.0));
        assert_eq!(percentile(&samples, 99.0), Some(198.0));
        assert_eq!(percentile(&samples, 100.0), Some(200.0));
        assert_eq!(percentile(&samples, 0.0), Some(1.0));
        assert_eq!(percentile(&[5.0], 99.0), Some(5.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn five_digits_are_kept_of_large_small_and_negative_numbers() {
        let rounded: Vec<f64> =
            [1_234_567.8, 12_345.678, 0.001_234_567, -9.876_543, 0.0].map(round).to_vec();
        assert_eq!(rounded, [1_234_600.0, 12_346.0, 0.001_234_6, -9.876_5, 0.0]);
    }
}
