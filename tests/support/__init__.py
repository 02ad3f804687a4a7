"""What tests share: servers, streams, jobs, and readers of what came out."""
