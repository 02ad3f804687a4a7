"""What flows through a job: blocks, messages, changes, positions, ledgers, tables."""
