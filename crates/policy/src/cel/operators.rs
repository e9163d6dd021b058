//! What operators do with values.

use std::cmp::Ordering;

/// The order of two numbers of different types, exact; none with a NaN.
pub(super) fn order_numbers(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Whole numbers of 64 bits lie in [-2^63, 2^63): beyond, the sign decides.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if double >= BEYOND {
        return Some(Ordering::Less);
    }
    if double < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    Some(int.cmp(&(whole as i64)).then_with(|| {
        // The fraction decides between equal whole parts.
        0.0_f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal)
    }))
}
