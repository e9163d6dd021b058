//! A unified diff of two texts by lines: the shortest edit script, found by the greedy algorithm of
//! Myers, "An O(ND) Difference Algorithm and Its Variations" (1986).

use crate::output::{self, CYAN, GREEN, RED};
use std::fmt::Write;

/// Lines around a change.
const CONTEXT: usize = 3;
/// The longest edit script that is looked for; bounds time and memory. Texts further apart are
/// shown as one replaced by the other.
const EDITS_MAX: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Same,
    Removed,
    Added,
}

/// The diff as `diff -u` writes it; empty when the texts are the same.
pub(super) fn unified(before: &str, after: &str, before_name: &str, after_name: &str) -> String {
    if before == after {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let edits = edits(&a, &b);
    let mut text = format!("--- {before_name}\n+++ {after_name}\n");
    for (from, to) in hunks(&edits) {
        write_hunk(&mut text, &a, &b, &edits, from, to);
    }
    text
}

/// The same with colours.
pub(super) fn coloured(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len() * 2);
    for line in diff.lines() {
        let line = match line.as_bytes().first() {
            Some(b'+') => output::paint(GREEN, line),
            Some(b'-') => output::paint(RED, line),
            Some(b'@') => output::paint(CYAN, line),
            _ => line.to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn edits(a: &[&str], b: &[&str]) -> Vec<Edit> {
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (&a[prefix..], &b[prefix..]);
    let suffix = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a_middle, b_middle) = (&a_rest[..a_rest.len() - suffix], &b_rest[..b_rest.len() - suffix]);
    let mut edits = vec![Edit::Same; prefix];
    match shortest(a_middle, b_middle) {
        Some(middle) => edits.extend(middle),
        None => {
            edits.extend(a_middle.iter().map(|_| Edit::Removed));
            edits.extend(b_middle.iter().map(|_| Edit::Added));
        }
    }
    edits.extend(vec![Edit::Same; suffix]);
    edits
}

/// Furthest reaching paths by number of edits; `None` when there are too many.
fn shortest(a: &[&str], b: &[&str]) -> Option<Vec<Edit>> {
    let most = (a.len() + b.len()).min(EDITS_MAX);
    // Of each number of edits: the furthest x by diagonal k = x - y, at index k + number.
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=most {
        let mut row = vec![0; 2 * edits + 1];
        for index in (0..=2 * edits).step_by(2) {
            let mut x = start(trace.last(), edits, index);
            // On diagonal k = index - edits; outside of the texts there is nothing to follow.
            while let Some(y) = (x + edits).checked_sub(index)
                && x < a.len()
                && y < b.len()
                && a[x] == b[y]
            {
                x += 1;
            }
            row[index] = x;
            if x >= a.len() && x + edits >= b.len() + index {
                trace.push(row);
                return Some(walk_back(&trace, a.len(), b.len()));
            }
        }
        trace.push(row);
    }
    None
}

/// Where the path of `edits` edits on a diagonal begins: after the better of the two ways there.
fn start(before: Option<&Vec<usize>>, edits: usize, index: usize) -> usize {
    let Some(before) = before else { return 0 };
    if is_added(before, edits, index) { before[index] } else { before[index - 2] + 1 }
}

/// Whether the last edit on a diagonal is an added line; else it is a removed one. In the row of
/// one edit fewer, diagonal k + 1 is at the same index, and k - 1 two before.
fn is_added(before: &[usize], edits: usize, index: usize) -> bool {
    index == 0 || (index != 2 * edits && before[index - 2] < before[index])
}

fn walk_back(trace: &[Vec<usize>], a_len: usize, b_len: usize) -> Vec<Edit> {
    let mut script = Vec::new();
    let mut x = a_len;
    // index = k + edits, with k = x - y at the end of both texts.
    let mut index = a_len + trace.len() - 1 - b_len;
    for edits in (1..trace.len()).rev() {
        let before = &trace[edits - 1];
        let added = is_added(before, edits, index);
        let from = if added { before[index] } else { before[index - 2] + 1 };
        script.extend((from..x).map(|_| Edit::Same));
        if added {
            script.push(Edit::Added);
            x = from;
        } else {
            script.push(Edit::Removed);
            x = from - 1;
            index -= 2;
        }
    }
    script.extend((0..x).map(|_| Edit::Same));
    script.reverse();
    script
}

/// Stretches of edits to show: changes with their context, joined where they touch.
fn hunks(edits: &[Edit]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (index, _) in edits.iter().enumerate().filter(|(_, edit)| **edit != Edit::Same) {
        let from = index.saturating_sub(CONTEXT);
        let to = (index + CONTEXT + 1).min(edits.len());
        match hunks.last_mut() {
            Some(last) if from <= last.1 => last.1 = to,
            _ => hunks.push((from, to)),
        }
    }
    hunks
}

fn write_hunk(text: &mut String, a: &[&str], b: &[&str], edits: &[Edit], from: usize, to: usize) {
    let count = |edits: &[Edit], not: Edit| edits.iter().filter(|edit| **edit != not).count();
    let (mut x, mut y) = (count(&edits[..from], Edit::Added), count(&edits[..from], Edit::Removed));
    let shown = &edits[from..to];
    let (a_count, b_count) = (count(shown, Edit::Added), count(shown, Edit::Removed));
    // A stretch of no lines is named by the line before it.
    let line = |start: usize, count: usize| if count == 0 { start } else { start + 1 };
    let (a_line, b_line) = (line(x, a_count), line(y, b_count));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "@@ -{a_line},{a_count} +{b_line},{b_count} @@");
    for edit in shown {
        let _ = match edit {
            Edit::Same => writeln!(text, " {}", a[x]),
            Edit::Removed => writeln!(text, "-{}", a[x]),
            Edit::Added => writeln!(text, "+{}", b[y]),
        };
        x += usize::from(*edit != Edit::Added);
        y += usize::from(*edit != Edit::Removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a script makes of the first text.
    fn apply(a: &[&str], b: &[&str], edits: &[Edit]) -> Vec<String> {
        let (mut x, mut y, mut result) = (0, 0, Vec::new());
        for edit in edits {
            match edit {
                Edit::Same => {
                    assert_eq!(a[x], b[y]);
                    result.push(a[x].to_owned());
                    (x, y) = (x + 1, y + 1);
                }
                Edit::Removed => x += 1,
                Edit::Added => {
                    result.push(b[y].to_owned());
                    y += 1;
                }
            }
        }
        assert_eq!((x, y), (a.len(), b.len()));
        result
    }

    #[test]
    fn a_diff_reads_as_people_know_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n";
        assert_eq!(
            unified(before, after, "a", "b"),
            "--- a\n+++ b\n@@ -2,8 +2,9 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+10\n"
        );
        assert_eq!(unified("", "x\n", "a", "b"), "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
        assert_eq!(unified("x\n", "x\n", "a", "b"), "");
    }

    #[test]
    fn every_pair_of_short_texts_gives_a_shortest_script_that_is_right() {
        let words = ["a", "b", "c"];
        let text = |mut number: usize, length: usize| -> Vec<&str> {
            let mut lines = Vec::new();
            for _ in 0..length {
                lines.push(words[number % 3]);
                number /= 3;
            }
            lines
        };
        for (first, second) in (0..81).flat_map(|x| (0..81).map(move |y| (x, y))) {
            for (long, short) in [(4, 4), (4, 2), (1, 4), (0, 3)] {
                let (a, b) = (text(first, long), text(second, short));
                let script = edits(&a, &b);
                assert_eq!(apply(&a, &b, &script), b);
                let changes = script.iter().filter(|edit| **edit != Edit::Same).count();
                assert_eq!(changes, a.len() + b.len() - 2 * longest_common(&a, &b), "{a:?} {b:?}");
            }
        }
    }

    fn longest_common(a: &[&str], b: &[&str]) -> usize {
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (x, y) in (0..a.len()).flat_map(|x| (0..b.len()).map(move |y| (x, y))) {
            rows[x + 1][y + 1] =
                if a[x] == b[y] { rows[x][y] + 1 } else { rows[x][y + 1].max(rows[x + 1][y]) };
        }
        rows[a.len()][b.len()]
    }

    #[test]
    fn texts_far_apart_are_shown_as_replaced() {
        let before: Vec<String> = (0..3000).map(|n| format!("a{n}\n")).collect();
        let after: Vec<String> = (0..3000).map(|n| format!("b{n}\n")).collect();
        let text = unified(&before.concat(), &after.concat(), "a", "b");
        assert!(text.contains("@@ -1,3000 +1,3000 @@"));
    }
}
