"""What keeps a provider and us safe from each other: quota, breaker and retry policy."""
