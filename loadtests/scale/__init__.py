"""rates measured on one machine → what more of them would do: simulated, sized and priced."""
