//! The nearest valid name, for "did you mean".

/// Longer words are no typing mistakes, and the distance costs their product.
const MAX_WORD_CHARS: usize = 128;

/// The candidate that `word` was probably meant to be: at most a third of its letters (but one at
/// least) inserted, left out, replaced or swapped; case counts for nothing. The first of equals.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(MAX_WORD_CHARS + 1).collect();
    if word.len() > MAX_WORD_CHARS {
        return None;
    }
    let limit = (word.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.to_lowercase().chars().take(MAX_WORD_CHARS).collect();
        if letters.len().abs_diff(word.len()) > limit {
            continue;
        }
        let distance = distance(&word, &letters);
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance (Damerau 1964, restricted: no letter is moved twice).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let fields = ["freshness", "upstream", "prefix", "cacheShare"];
        for (word, meant) in [
            ("freshnes", Some("freshness")),
            ("Freshness", Some("freshness")),
            ("upsteram", Some("upstream")),
            ("cacheshare", Some("cacheShare")),
            ("cache_share", Some("cacheShare")),
            ("preifx", Some("prefix")),
            ("limits", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, fields), meant, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), ["a"]), None);
    }

    proptest::proptest! {
        #[test]
        fn a_word_is_nearest_to_itself(word in "\\PC{1,20}", other in "\\PC{1,20}") {
            let found = nearest(&word, [other.as_str(), word.as_str()]);
            proptest::prop_assert!(found == Some(word.as_str())
                || other.to_lowercase() == word.to_lowercase());
        }
    }
}
