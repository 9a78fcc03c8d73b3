"""Tables, figures and the HTML report. No torch."""
