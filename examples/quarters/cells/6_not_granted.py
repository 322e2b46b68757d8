quarters.to_csv("/work/quarters.csv")  # its own memory: granted
quarters.to_csv("/data/quarters.csv")  # the folder of the data: not granted
