package tenure
