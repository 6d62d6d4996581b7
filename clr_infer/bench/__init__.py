"""Measuring what the project promises: latency, throughput, overhead."""
