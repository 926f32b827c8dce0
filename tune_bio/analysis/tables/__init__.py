"""Tables of trials and configurations, for a spreadsheet, a report or a paper."""
