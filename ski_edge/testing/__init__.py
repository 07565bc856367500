"""Generated inputs and honest stand-ins for trained weights, shared by tests, benchmarks and export."""
