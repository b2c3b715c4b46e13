"""Results that wait on disk while their destination is away."""
