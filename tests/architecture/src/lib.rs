//! Only tests live here: the rules of the house, checked against the tree.
