"""Tables, plots and pages made from estimates."""
