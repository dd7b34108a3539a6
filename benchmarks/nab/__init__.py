"""The Numenta Anomaly Benchmark: alarms on 58 labelled streams, of this service and of other libraries."""
