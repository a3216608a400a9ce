"""Objects of which a depth camera saw one side: what completion is trained and judged on."""
