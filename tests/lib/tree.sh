# A copy of the tree, to change and to build; sourced by the scripts that need one.

# copy_tree DIRECTORY: with new times, so that what was built of another copy is not taken for this one's.
copy_tree() {
    rm -rf "$1"
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -m -C "$1"
}

# tree_hash DIRECTORY: of all that the log's tests are built from.
tree_hash() { (cd "$1" && find Cargo.toml Cargo.lock FORMAT.md src -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16); }
