//! Medians, and how they are printed.

/// The median of what was measured; `NaN` of nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// Median, least and greatest, as `median (least–greatest)`.
pub(crate) fn spread(values: &mut [f64]) -> String {
    written(values, 0)
}

/// As [`spread`], to the thousandth.
pub(crate) fn fine_spread(values: &mut [f64]) -> String {
    written(values, 3)
}

fn written(values: &mut [f64], digits: usize) -> String {
    let middle = median(values);
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else { return "nothing measured".to_owned() };
    format!("{middle:.digits$} ({least:.digits$}–{greatest:.digits$})")
}
