"""A Chinese shop of household goods, made from lists of words: its files as an export has them.

Titles as on Chinese marketplaces, 300 products in 30 kinds and 8 categories, 400 shoppers who each
prefer two kinds and one style, 6,000 events, 200 reviews. The same files every time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

PRODUCTS, SHOPPERS, EVENTS, REVIEWS = 300, 400, 6000, 200
DAYS = 120
KINDS = {
    "茶具": {
        "茶壶": ("紫砂 陶瓷 玻璃 铸铁", "大容量泡茶 家用功夫茶具 耐高温带滤网", (69, 268)),
        "茶杯": ("汝窑 陶瓷 玻璃 青瓷", "主人杯 功夫茶品茗杯 带盖办公室泡茶", (19, 88)),
        "盖碗": ("白瓷 青瓷 汝窑 玻璃", "三才碗 防烫 家用泡茶", (39, 158)),
        "茶叶罐": ("陶瓷 马口铁 锡制 竹木", "密封防潮 便携旅行 普洱储存", (25, 128)),
    },
    "咖啡用具": {
        "马克杯": ("陶瓷 骨瓷 珐琅 玻璃", "350ml 带盖勺|情侣对杯 送礼|大容量 办公室水杯", (29, 99)),
        "手冲壶": ("不锈钢 玻璃 铜制", "细口壶 600ml|温控 家用咖啡|带温度计", (89, 299)),
        "磨豆机": ("手摇 电动 便携", "咖啡豆研磨器 可水洗|不锈钢磨芯", (79, 359)),
    },
    "餐具": {
        "饭碗": ("陶瓷 骨瓷 青花 木质", "4.5英寸 家用|釉下彩 微波炉可用", (12, 49)),
        "餐盘": ("陶瓷 骨瓷 玻璃 木质", "8英寸 西餐牛排|深盘 家用菜盘", (18, 79)),
        "筷子": ("合金 鸡翅木 竹制", "10双装 防滑防霉|家用 耐高温", (15, 59)),
        "汤勺": ("不锈钢 陶瓷 木质", "长柄 家用|喝汤专用", (9, 39)),
    },
    "家居饰品": {
        "花瓶": ("陶瓷 玻璃 粗陶", "干花插花 客厅摆件|水培 创意", (35, 168)),
        "香薰蜡烛": ("大豆蜡 玻璃杯 铁罐", "助眠安神 卧室|生日礼物 伴手礼", (29, 129)),
        "台灯": ("实木 金属 布艺", "卧室床头 护眼|学习阅读 可调光", (69, 259)),
        "抱枕": ("亚麻 丝绒 棉麻", "沙发靠垫 45×45cm|可拆洗 办公室", (25, 89)),
        "挂钟": ("实木 金属 静音", "客厅卧室 石英钟|创意 免打孔", (49, 199)),
    },
    "文具": {
        "笔记本": ("牛皮 布面 硬壳", "A5 手账本|空白方格 加厚", (15, 69)),
        "钢笔": ("金属 树脂 黄铜", "练字 学生专用|商务签字 礼盒装", (29, 199)),
        "书签": ("黄铜 竹木 皮革", "古典中国风 创意|镂空 文创", (8, 35)),
        "胶带": ("和纸 烫金", "手账素材 装饰贴纸|整卷 10米", (5, 25)),
    },
    "玩具": {
        "积木": ("木制 大颗粒 磁力", "儿童益智拼装 3-6岁|宝宝早教", (39, 199)),
        "毛绒公仔": ("兔子 小熊 猫咪", "抱着睡觉 女生生日礼物|安抚玩偶", (29, 119)),
        "拼图": ("木质 纸质 磁性", "1000片 成人减压|儿童 早教启蒙", (25, 99)),
    },
    "服饰配件": {
        "围巾": ("羊毛 羊绒 真丝", "秋冬保暖 百搭|长款 披肩两用", (59, 399)),
        "帆布包": ("棉质 加厚 印花", "单肩 大容量 学生|文艺 购物袋", (29, 99)),
        "袜子": ("纯棉 羊毛 竹纤维", "中筒 5双装|透气吸汗 秋冬", (19, 59)),
        "雨伞": ("全自动 折叠 长柄", "晴雨两用 防晒|加固抗风 双人", (39, 129)),
    },
    "数码配件": {
        "手机壳": ("硅胶 皮质 透明", "iPhone 15 防摔|全包 镜头保护", (19, 89)),
        "充电线": ("编织 快充 磁吸", "Type-C 1.5米|苹果安卓通用 100W", (15, 69)),
        "蓝牙耳机": ("入耳式 头戴式 骨传导", "降噪 长续航|运动跑步 防水", (99, 599)),
    },
}
"""Category → kind → materials, what a title says last, lowest and highest price in yuan."""
STYLES = ("日式手绘", "北欧风", "复古", "简约", "新中式", "ins风", "国潮", "轻奢")
BRANDS = ("山野集", "青禾", "栖木", "MUJIAN", "拾光里", "南窗", "Lumi", "一间小铺")
OPENINGS = (
    "精选优质材料，做工细致，手感舒适。",
    "设计师原创，线条简洁，适合各种家居风格。",
    "匠人手工制作，每一件都独一无二！",
    "经久耐用，送礼自用两相宜。",
)
ENDINGS = (
    "支持七天无理由退换。",
    "包装严实，破损包赔。",
    "收到后请用温水清洗再使用。",
    "颜色以实物为准，谢谢理解。",
)
OPINIONS = (
    (5, "非常喜欢", "质量很好，做工精细。物流也快，下次还会再来！"),
    (5, "物超所值", "和图片一样好看，朋友都说不错。"),
    (4, "还可以", "总体满意，就是比想象中小一点。"),
    (3, "一般", "颜色和图片有点差别。客服态度还行。"),
    (2, "不太满意", "收到时包装破了，换货等了一个星期。"),
)


def write(folder: Path) -> None:
    """Write 商品.csv, 行为.csv and 评价.csv."""
    random = np.random.default_rng(20240501)
    folder.mkdir(parents=True, exist_ok=True)
    items = _items(random)
    names = {
        "item_id": "商品编号",
        "title": "商品名称",
        "brand": "品牌",
        "category": "类目",
        "description": "商品描述",
        "price": "价格",
    }
    items[list(names)].rename(columns=names).to_csv(folder / "商品.csv", index=False)
    events = _events(items, random)
    events.to_csv(folder / "行为.csv", index=False)
    bought = events[events["行为类型"] == "buy"].sample(REVIEWS, random_state=1)
    opinion = random.integers(0, len(OPINIONS), REVIEWS)
    stars, headings, texts = zip(*(OPINIONS[one] for one in opinion), strict=True)
    kinds = items.set_index("item_id")["kind"][bought["商品编号"]]
    reviews = pd.DataFrame(
        {
            "用户id": bought["用户id"].to_numpy(),
            "商品编号": bought["商品编号"].to_numpy(),
            "评分": stars,
            "标题": headings,
            "评价内容": [f"这个{kind}{text}" for kind, text in zip(kinds, texts, strict=True)],
            "评价时间": bought["时间"].to_numpy(),
        }
    )
    reviews.to_csv(folder / "评价.csv", index=False)


def _items(random: np.random.Generator) -> pd.DataFrame:
    kinds = [(category, kind) for category, of in KINDS.items() for kind in of]
    rows = []
    for number in range(PRODUCTS):
        category, kind = kinds[number % len(kinds)]
        materials, uses, (low, high) = KINDS[category][kind]
        style = STYLES[(number // len(kinds)) % len(STYLES)]
        material = random.choice(materials.split())
        use = random.choice(uses.split("|") if "|" in uses else uses.split())
        price = round(float(np.exp(random.uniform(np.log(low), np.log(high)))), 1)
        opening, ending = random.choice(OPENINGS), random.choice(ENDINGS)
        rows.append(
            {
                "item_id": f"P{number:04d}",
                "title": f"{style}{material}{kind} {use}",
                "brand": random.choice(BRANDS),
                "category": category,
                "description": f"{style}{material}{kind}。{opening}{ending}",
                "price": price,
                "kind": kind,
                "style": style,
            }
        )
    return pd.DataFrame(rows)


def _events(items: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    kinds, styles = items["kind"].unique(), np.array(STYLES)
    popularity = random.dirichlet(np.full(PRODUCTS, 0.8))
    # Kinds that are near in the catalogue are liked together: a second one of the same category.
    first = random.integers(0, len(kinds), SHOPPERS)
    second = (first + random.integers(1, 3, SHOPPERS)) % len(kinds)
    style = random.integers(0, len(styles), SHOPPERS)
    activity = random.dirichlet(np.full(SHOPPERS, 1.5))
    user = random.choice(SHOPPERS, EVENTS, p=activity)
    kind, look = items["kind"].to_numpy(), items["style"].to_numpy()
    item = np.empty(EVENTS, dtype=np.int64)
    for one in np.unique(user):
        wanted = np.isin(kind, kinds[[first[one], second[one]]])
        weights = popularity * (1 + 30 * wanted) * (1 + 2 * (look == styles[style[one]]))
        own = user == one
        item[own] = random.choice(PRODUCTS, own.sum(), p=weights / weights.sum())
    seconds = np.sort(random.integers(0, DAYS * 86_400, EVENTS))
    return pd.DataFrame(
        {
            "用户id": [f"U{one:04d}" for one in user],
            "商品编号": items["item_id"].to_numpy()[item],
            "行为类型": random.choice(["pv", "cart", "buy"], EVENTS, p=[0.5, 0.15, 0.35]),
            "时间": pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s"),
            "单价": items["price"].to_numpy()[item],
            "数量": 1,
        }
    )
