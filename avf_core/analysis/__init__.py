"""What is asked of a filter beside filtering: bounds, calibration, surprise, forecasts, health."""
