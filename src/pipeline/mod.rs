//! Builds and runs the graph of receivers, logs and exporters; drains and stops it.
