"""servers of our own → what they do under load, faults and nonsense, beside what is promised."""
