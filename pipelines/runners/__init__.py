"""Where a pipeline runs: on this machine, on Prism, Flink or Dataflow."""
