"""Models and endpoints: their fleets of model servers, invocations, captures and metrics."""
