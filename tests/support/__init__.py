"""What tests share: real clusters, waiting for conditions, what a test left behind."""
