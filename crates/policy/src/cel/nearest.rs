//! The name that may have been meant by one that does not exist.

/// The candidate with the fewest edits, if they are few for the length of the name.
pub(super) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let most = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters to insert, remove or change, in any case (Levenshtein, one row at a time).
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, right) in right.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[index + 1];
            row[index + 1] = changed.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["labels", "layerCount", "licences", "name"];
        assert_eq!(nearest("label", names), Some("labels"));
        assert_eq!(nearest("licenses", names), Some("licences"));
        assert_eq!(nearest("layercount", names), Some("layerCount"));
        assert_eq!(nearest("x", names), None);
        assert_eq!(nearest("environment", names), None);
    }
}
