$(call library,log.c count.c gauges.c)
$(call program,log,main_log.c main_metrics.c frame.c,conf io os log base)
$(call unittest,test_log,test_log.c frame.c,log base test)
$(call unittest,test_count,test_count.c,log base test)
